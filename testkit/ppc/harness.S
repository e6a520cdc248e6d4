# Runs rows of state under qemu-ppc64le or the translator: for each case copies its record to `work`, loads every register
# from it, runs the case's instructions (`stubs`, 64 bytes each, which end in a branch to `done`), stores every register, and
# after the last pass copies the record back. All records are written to standard output.
# r1 holds the work record's address throughout; TAR is used to get to the instructions.
    .set RECORD, 2048
    .set WORK, 0x20000000
    .set CONTROL, 0x20001000
    .set CASES, 0x21000000
    .set STUBS, 0x10100000
    .abiversion 2
    .text
    .globl _start
_start:
    lis 5, 0x2100
    ld 5, 0(5)
    lis 3, 0x2000
    ori 3, 3, 0x1000
    std 5, 0(3)
    lis 5, 0x2100
    ld 5, 8(5)
    std 5, 8(3)
    li 5, 0
    std 5, 16(3)
next_case:
    lis 3, 0x2000
    ori 3, 3, 0x1000
    ld 4, 16(3)
    ld 5, 0(3)
    cmpd 4, 5
    bge finish
    li 6, 0
    std 6, 24(3)
next_pass:
    lis 3, 0x2000
    ori 3, 3, 0x1000
    ld 4, 16(3)
    lis 7, 0x2100
    addi 7, 7, RECORD
    sldi 8, 4, 11
    add 7, 7, 8
    lis 1, 0x2000
    li 9, RECORD/8
    mtctr 9
    addi 7, 7, -8
    addi 10, 1, -8
1:  ldu 9, 8(7)
    stdu 9, 8(10)
    bdnz 1b
    lis 9, 0x1010
    sldi 8, 4, 6
    add 9, 9, 8
    mtspr 815, 9
    lfd 0, 288(1)
    mtfsf 255, 0, 1, 0
    addi 9, 1, 304
    lvx 0, 0, 9
    mtvscr 0
    .set i, 0
    .rept 64
    li 9, 320 + 16*i
    lxvd2x i, 1, 9
    .set i, i+1
    .endr
    ld 9, 256(1)
    mtcr 9
    ld 9, 264(1)
    mtxer 9
    ld 9, 272(1)
    mtlr 9
    ld 9, 280(1)
    mtctr 9
    ld 0, 0(1)
    .set i, 2
    .rept 30
    ld i, 8*i(1)
    .set i, i+1
    .endr
    .long 0x4e800460
    .org 0x400
    .globl done
done:
    std 0, 0(1)
    .set i, 2
    .rept 30
    std i, 8*i(1)
    .set i, i+1
    .endr
    mfcr 9
    std 9, 256(1)
    mfxer 9
    std 9, 264(1)
    mflr 9
    std 9, 272(1)
    mfctr 9
    std 9, 280(1)
    .set i, 0
    .rept 64
    li 9, 320 + 16*i
    stxvd2x i, 1, 9
    .set i, i+1
    .endr
    mffs 0
    stfd 0, 288(1)
    mfvscr 0
    addi 9, 1, 304
    stvx 0, 0, 9
    lis 3, 0x2000
    ori 3, 3, 0x1000
    ld 4, 24(3)
    addi 4, 4, 1
    std 4, 24(3)
    ld 5, 8(3)
    cmpd 4, 5
    blt next_pass
    ld 4, 16(3)
    lis 7, 0x2100
    addi 7, 7, RECORD
    sldi 8, 4, 11
    add 7, 7, 8
    li 9, RECORD/8
    mtctr 9
    addi 7, 7, -8
    addi 10, 1, -8
1:  ldu 9, 8(10)
    stdu 9, 8(7)
    bdnz 1b
    addi 4, 4, 1
    std 4, 16(3)
    b next_case
finish:
    lis 4, 0x2100
    addi 4, 4, RECORD
    sldi 5, 5, 11
    li 3, 1
    li 0, 4
    sc
    li 3, 0
    li 0, 1
    sc
    .section .work, "aw"
    .space 8192
    .section .cases, "aw"
    .incbin "cases.bin"
    .section .stubs, "ax"
    .incbin "stubs.bin"
